"""neo4j.conf: loopback only, the chosen ports and sizes, and nothing sent to anyone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from latewood.graph_schema.errors import InvalidError

__all__ = ["HOST", "Configuration", "checked_folder", "checked_size"]

HOST: Final = "127.0.0.1"
_SIZE: Final = re.compile(r"[1-9][0-9]{0,5}[kmg]", re.IGNORECASE)


def checked_size(words: str, what: str) -> str:
    """Take a size of memory such as 512m. Raises InvalidError (``setting.invalid``)."""
    if _SIZE.fullmatch(words) is None:
        msg = f"{what} {words!r} is no size of memory; write it as 512m or 2g"
        raise InvalidError(msg, code="setting.invalid", value=words)
    return words.lower()


def checked_folder(folder: Path) -> Path:
    """Take a folder that a class path and a line of neo4j.conf can name. Raises InvalidError (``setting.invalid``)."""
    place = folder.expanduser().absolute()
    # Java splits class paths at colons and reads stars as all jars; neo4j.conf knows escapes and one line a value.
    if bad := sorted(set(str(place)) & set(":*\\\n\r")):
        msg = f"the folder {str(place)!r} has {', '.join(map(repr, bad))} in its name; Java needs another"
        raise InvalidError(msg, code="setting.invalid", path=str(place))
    return place


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a server is started with."""

    library: Path
    bolt_port: int
    http_port: int
    heap: str
    page_cache: str

    def settings(self) -> Mapping[str, str]:
        """Return the settings of neo4j.conf."""
        return {
            "server.default_listen_address": HOST,
            # Named as it is bound: localhost may mean ::1 first, where nobody listens.
            "server.default_advertised_address": HOST,
            "server.bolt.listen_address": f"{HOST}:{self.bolt_port}",
            "server.bolt.advertised_address": f"{HOST}:{self.bolt_port}",
            "server.http.listen_address": f"{HOST}:{self.http_port}",
            "server.http.advertised_address": f"{HOST}:{self.http_port}",
            "server.https.enabled": "false",
            "server.memory.heap.initial_size": self.heap,
            "server.memory.heap.max_size": self.heap,
            "server.memory.pagecache.size": self.page_cache,
            "server.directories.lib": str(self.library),
            # Else the home itself, and LOAD CSV could read the password.
            "server.directories.import": "import",
            "dbms.usage_report.enabled": "false",
            "client.allow_telemetry": "false",
        }

    def text(self) -> str:
        """Write neo4j.conf."""
        lines = [f"{name}={value}\n" for name, value in self.settings().items()]
        return "# Written by `latewood neo4j up` at each start; what is changed here does not last.\n" + "".join(lines)
