"""Make a model from a string, as applications with a configuration file do."""

from langchain.chat_models import init_chat_model

model = init_chat_model("openrouter:anthropic/claude-sonnet-4.5", temperature=0)
print(model.invoke("Tell me a joke.").text)
