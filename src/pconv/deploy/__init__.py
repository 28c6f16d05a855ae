"""Owns the folder that an app's developer gets: header, libraries, C text, wrappers, an example, a GPU's model.

`templates/` holds its files with @PLACES@ to fill in; nothing here knows how code is generated or compiled.
"""

from pconv.deploy.folder import Exported, write_folder

__all__ = ["Exported", "write_folder"]
