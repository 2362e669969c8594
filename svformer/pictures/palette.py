"""The colours of every picture, in one place: charts, notebooks and, as properties in its style sheet, the report.

Okabe and Ito's set, which colour-blind people can distinguish (jfly.uni-koeln.de/color, 2002); a brown replaces its
yellow, which is hardly visible on white paper. In grey print the order below alternates dark and light.
"""

from types import MappingProxyType

INK, SOFT, LINE, PAPER = "#1d1c1a", "#67635b", "#dedad1", "#ffffff"  # text and spikes, labels, grids, ground
BLUE, ORANGE, VERMILLION, GREEN = "#0072b2", "#e69f00", "#d55e00", "#009e73"
GREY, SKY, PURPLE, BROWN = "#bbbbbb", "#56b4e9", "#cc79a7", "#5d4a3a"
SERIES = (BLUE, ORANGE, VERMILLION, GREEN, GREY, SKY, PURPLE, BROWN)

# Quantities with a fixed colour.
QUERY, KEY, VALUE = GREEN, ORANGE, BLUE
BRIGHTER, DARKER = VERMILLION, BLUE  # polarities of events
HEAT = "cividis"  # colour map of amounts, even in lightness; spikes are ink on paper ("Greys")
CAUSES = (*SERIES, SOFT, INK)  # causes of energy, by the `colour` of their rule in hardware/causes.py

# matplotlib's settings; the fonts are those that it ships, so that pictures are the same on every machine.
STYLE = MappingProxyType(
    {
        "figure.dpi": 100,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "axes.edgecolor": SOFT,
        "axes.labelcolor": SOFT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "legend.frameon": False,
        "image.cmap": "Greys",
        "image.interpolation": "nearest",
        "hatch.linewidth": 0.6,
    }
)
