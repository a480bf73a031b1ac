"""ChatOpenRouter: the LangChain chat model for OpenRouter."""
