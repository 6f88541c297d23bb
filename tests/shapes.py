"""The checks of shapes and types that annotations ask for, at every call of ours."""

from typing import Any

import jax
from jaxtyping import PyTree, install_import_hook


def check_annotations() -> None:
    """Checks every annotated array of what is imported from here on."""
    check_leaves_by_isinstance()
    install_import_hook(["models", "analysis", "train", "data", "experiments"], "beartype.beartype")


def check_leaves_by_isinstance() -> None:
    """Lets `PyTree[Class]` ask each leaf for its class. JAXtyping makes a function that checks one anew at every
    call, which says the same and takes half the time of all checks."""
    kind: Any = type(PyTree)
    general = kind._check

    def check(annotation: Any, tree: Any, memo: Any) -> bool:
        if annotation.structure is not None or not isinstance(annotation.leaftype, type):
            return general(annotation, tree, memo)
        return all(isinstance(leaf, annotation.leaftype) for leaf in jax.tree.leaves(tree))

    kind._check = check
