"""Capture: microphone and camera, until sound is a block and a picture is a face seen or not.

Raw sound and pictures exist in this room and nowhere else on the device.
"""
