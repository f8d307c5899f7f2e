"""All SQL that changes state: import segments, seal, claim, deliver, prune."""

from .batches import cancel, retry, seal, send_again
from .contents import report
from .deliver import deliver
from .flush import Summary, flush, flush_batch, next_event
from .groups import end_silence, resolve, silence
from .intake import import_all
from .mails import eml, preview
from .plan import Plan, known_buffers, plan, problems, spooled
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
    "spooled",
]
