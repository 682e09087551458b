"""Packs: ready bundles of rules, switched on with a few parameters; and rule templates of one's own.

The built-in packs are the YAML files of this folder.
"""

from __future__ import annotations

from ml_event_provider.rules.packs.files import find_pack, load_pack, packs
from ml_event_provider.rules.packs.model import Pack, RuleTemplate, parse_parameters
from ml_event_provider.rules.packs.parameters import Parameter

__all__ = ["Pack", "Parameter", "RuleTemplate", "find_pack", "load_pack", "packs", "parse_parameters"]
