"""Transcribe a recording: python audio_input.py recording.wav."""

import base64
import sys
from pathlib import Path

from langchain_core.messages import HumanMessage

from langchain_openrouter import ChatOpenRouter

model = ChatOpenRouter(model="google/gemini-2.5-flash")
recording = Path(sys.argv[1]).read_bytes()
message = HumanMessage(
    [
        {"type": "text", "text": "Transcribe this recording."},
        {"type": "audio", "base64": base64.b64encode(recording).decode(), "mime_type": "audio/wav"},
    ]
)
print(model.invoke([message]).text)
