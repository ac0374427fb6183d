"""Updates on the device: slots, trial, the person's yes, the swap, probation, and the way back."""
