"""Colours: those of Okabe and Ito, which colour-blind readers can tell apart."""

from __future__ import annotations

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, RED, VIOLET = "#56B4E9", "#D55E00", "#5B4FA2"
INK, GREY, PALE = "#222222", "#767676", "#D9D9D9"
SERIES = (BLUE, ORANGE, GREEN, PINK, SKY, "#8C6D31", VIOLET, "#444444")
