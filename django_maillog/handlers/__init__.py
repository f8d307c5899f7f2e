"""What ``LOGGING`` names: the handlers of ``logging.handlers``, with their names, arguments and methods.

This package is imported before the app registry is ready, and in projects that forgot to install the app: it
imports no model, and reaches the database side through ``worker`` alone, once the registry is ready.
"""

from .buffering import BufferingHandler
from .memory import MemoryHandler
from .smtp import SMTPHandler

__all__ = ["BufferingHandler", "MemoryHandler", "SMTPHandler"]
