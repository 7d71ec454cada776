"""The learning rate."""

from __future__ import annotations

from bridgepipe.config.recipe import Recipe


def lr_at(recipe: Recipe, step: int) -> float:
    """The learning rate after ``step`` steps."""
    lr = recipe.lr * recipe.lr_gamma ** (step // recipe.lr_step)
    return lr if recipe.lr_anneal_steps is None else lr * (1 - step / recipe.lr_anneal_steps)
