"""How is a calibration fitted, and how well does it do on people it has not seen?"""
