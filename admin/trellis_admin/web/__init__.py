"""The console: the jobs of an account in a browser, as an ASGI application.

`app` makes it; `trellis web` serves it. Pages are made on the server, and work without JavaScript.
"""

from trellis_admin.web.access import Access, Identity, LocalAccess, ProxyAccess, Role, TokenAccess
from trellis_admin.web.app import app
from trellis_admin.web.console import Settings

__all__ = ["Access", "Identity", "LocalAccess", "ProxyAccess", "Role", "Settings", "TokenAccess", "app"]
