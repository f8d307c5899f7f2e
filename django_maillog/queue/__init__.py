"""All SQL that changes state: import segments, seal, claim, deliver, prune."""

from .batches import cancel, end_silence, resolve, retry, seal, send_again, silence
from .contents import report
from .deliver import deliver, eml, preview
from .flush import Plan, Summary, flush, flush_batch, known_buffers, next_event, plan, problems
from .intake import import_all, import_segment
from .prune import prune

__all__ = [
    "Plan",
    "Summary",
    "cancel",
    "deliver",
    "eml",
    "end_silence",
    "flush",
    "flush_batch",
    "import_all",
    "import_segment",
    "known_buffers",
    "next_event",
    "plan",
    "preview",
    "problems",
    "prune",
    "report",
    "resolve",
    "retry",
    "seal",
    "send_again",
    "silence",
]
