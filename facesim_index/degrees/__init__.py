"""Which degrees does this index give?  Its calibration in force, its prior, whether both fit."""
