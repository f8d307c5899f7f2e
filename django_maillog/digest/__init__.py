"""The mail: a report of groups and samples becomes a subject, text, HTML and attachments.

Pure: no SQL, no clock, no network.
"""

from .attachments import Attachment
from .mail import Digest, GroupReport, Report, headers, render, subject, summarize

__all__ = ["Attachment", "Digest", "GroupReport", "Report", "headers", "render", "subject", "summarize"]
