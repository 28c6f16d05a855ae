"""Owns the folder that an app's developer gets: header, libraries, C text, wrappers, an example.

`templates/` holds its files with @PLACES@ to fill in; nothing here knows how code is generated or compiled.
"""

from pconv.export.folder import Exported, export

__all__ = ["Exported", "export"]
