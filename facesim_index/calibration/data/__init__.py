"""The calibrations that come with the package, one JSON file for each engine identity."""
