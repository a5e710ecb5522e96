"""How accurate and how well calibrated is this on labelled pictures?  Figures, plots, a report."""
