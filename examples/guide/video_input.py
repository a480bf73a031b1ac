"""Ask about a video on the web."""

from langchain_core.messages import HumanMessage

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(model="google/gemini-2.5-pro")
message = HumanMessage(
    [
        {"type": "text", "text": "Describe this video."},
        {"type": "video", "url": "https://example.com/video.mp4"},
    ]
)
print(model.invoke([message]).text)
