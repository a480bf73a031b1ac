"""Ask about an image on the web."""

from langchain_core.messages import HumanMessage

from langchain_openrouter import ChatOpenRouter

url = "https://upload.wikimedia.org/wikipedia/commons/d/dd/Gfp-wisconsin-madison-the-nature-boardwalk.jpg"

model = ChatOpenRouter(model="openai/gpt-5.4")
message = HumanMessage(
    [
        {"type": "text", "text": "Describe this image."},
        {"type": "image", "url": url},
    ]
)
print(model.invoke([message]).text)
