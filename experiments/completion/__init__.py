"""Print a script that completes names, options and their values in bash or zsh.

    unroll completion bash >> ~/.bashrc
    unroll completion zsh >> ~/.zshrc

It completes the command `unroll` of an installation. Print it again after an update.
"""

import dataclasses
import importlib
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from experiments.harness.launch import Launch
from experiments.harness.options import LATEST, option_name
from experiments.harness.terminal import program
from experiments.registry import ALIASES, COMMANDS, GENERATORS, MODULES, NAMES, READS, SUBJECT_COMMANDS
from models import CELLS
from train.optimizer import OptimizerName

Choices = dict[str, tuple[str, ...]]
SHELLS = ("bash", "zsh")
FREE: Choices = {"cell": tuple(CELLS), "optimizer.name": get_args(OptimizerName)}  # text with usual values
SCRIPT = """# completion of unroll in bash and zsh, printed by: unroll completion bash
[ -n "$ZSH_VERSION" ] && autoload -U +X compinit && compinit -u && autoload -U +X bashcompinit && bashcompinit
_unroll() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} name=${COMP_WORDS[1]}
  local names="%(names)s" options="" values=""
  if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W "$names --help" -- "$current")); return; fi
  case "$name" in
%(cases)s
  esac
  if [ "$previous" = sweep ]; then values="%(experiments)s"; fi
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$options --help --help-all" -- "$current"));;
    *) COMPREPLY=($(compgen -W "$values" -- "$current"));;
  esac
}
complete -o default -F _unroll unroll
"""


def main(arguments: list[str]) -> int:
    """Prints the script for a shell; 2 where none is named."""
    if {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return 0
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        print(f"usage: {program()} completion {{{','.join(SHELLS)}}}", file=sys.stderr)
        return 2
    print(script(), end="")
    return 0


def script() -> str:
    """Writes the script: for each name a case with its options, and the values of those that have a few."""
    cases = [case(name, options_of_command(name), READS.get(name, ())) for name in (*NAMES, *COMMANDS)]
    names, experiments = " ".join((*NAMES, *COMMANDS)), " ".join(NAMES)
    return SCRIPT % {"names": names, "cases": "\n".join(cases), "experiments": experiments}


def case(name: str, options: Choices, reads: tuple[str, ...]) -> str:
    """Writes the case of one name."""
    lines = [f"  {name})", f'    options="{" ".join(options)}"']
    known = {option: values for option, values in options.items() if values}
    if known or reads:
        lines.append('    case "$previous" in')
        lines += [f'      {option}) values="{" ".join(values)}";;' for option, values in known.items()]
        lines += [f'      {name}) values="{LATEST}";;'] if reads else []
        lines.append("    esac")
    return "\n".join([*lines, "    ;;"])


def options_of_command(name: str) -> Choices:
    """Returns the options of an experiment or command, each with its values where they are few."""
    if name in NAMES:
        module = importlib.import_module(MODULES[name])
        presets: Mapping[str, Any] = getattr(module, "PRESETS", {})
        own = options_of(module.Config)
        short = {
            alias: own[option] for alias, option in ALIASES.items() if option in own and alias not in own
        }
        return own | short | ({"--preset": tuple(presets)} if presets else {}) | options_of(Launch)
    modules = SUBJECT_COMMANDS | {name: f"experiments.{name}" for name in ("export", "report", "sweep")}
    kinds = {"report": "Options", "sweep": "Sweep"}
    places = {*GENERATORS.values()} if name == "generate" else {modules[name]} if name in modules else set()
    found: Choices = {}
    for place in sorted(places):
        found |= options_of(getattr(importlib.import_module(place), kinds.get(name, "Config")))
    return found


def options_of(kind: type, prefix: str = "") -> Choices:
    """Returns the options of a dataclass, those of nested ones among them, without positional arguments."""
    hints, found = typing.get_type_hints(kind, include_extras=True), {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        hint, path = hints[field.name], prefix + field.name
        marks = [str(mark) for mark in getattr(hint, "__metadata__", ())]
        if any("ositional" in mark for mark in marks):
            continue
        hint = hint.__origin__ if marks else hint
        if dataclasses.is_dataclass(hint):
            found |= options_of(hint, f"{path}.")  # type: ignore[arg-type]
        else:
            found[option_name(path)] = FREE.get(path, values_of(hint))
    return found


def values_of(hint: Any) -> tuple[str, ...]:
    """Returns the values of a Literal, of one in a tuple or beside others; none of anything else."""
    if get_origin(hint) is Literal:
        return tuple(map(str, get_args(hint)))
    if get_origin(hint) in (tuple, typing.Union, types.UnionType, typing.Annotated):
        return tuple(dict.fromkeys(value for part in get_args(hint) for value in values_of(part)))
    return ()
