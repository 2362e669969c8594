"""The script of a page, and the policy by which a browser runs this one and nothing else."""

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files

# Pictures are part of the page; the places of bars and marks are attributes `style`. Nothing is fetched or sent.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, kw_only=True)
class Script:
    """What stands between <script> and </script>, to the letter."""

    text: str

    @property
    def policy(self) -> str:
        """Content security policy of the page with this script."""
        digest = base64.b64encode(hashlib.sha256(self.text.encode()).digest()).decode("ascii")
        return f"{POLICY}; script-src 'sha256-{digest}'"


def script(*names: str) -> Script:
    """The script that these files of the templates are, one after the other."""
    folder = files("deploy.report") / "templates"
    return Script(text="\n".join((folder / name).read_text("utf-8") for name in names))
