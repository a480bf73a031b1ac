"""Ask for the API key unless the environment has it."""

import getpass
import os

if not os.getenv("OPENROUTER_API_KEY"):
    os.environ["OPENROUTER_API_KEY"] = getpass.getpass("Your OpenRouter API key: ")
