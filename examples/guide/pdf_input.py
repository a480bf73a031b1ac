"""Ask about a PDF on the web."""

from langchain_core.messages import HumanMessage

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(model="google/gemini-2.5-pro")
message = HumanMessage(
    [
        {"type": "text", "text": "Summarize this document."},
        {
            "type": "file",
            "url": "https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf",
            "mime_type": "application/pdf",
        },
    ]
)
print(model.invoke([message]).text)
