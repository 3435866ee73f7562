"""Units → waveform: units → mel spectrum (a small trained network) → Griffin-Lim or a HiFi-GAN.

Loads nothing by itself; torch comes with the modules that compute.
"""
