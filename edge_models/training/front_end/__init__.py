"""The acoustic front end in torch: written once here, exported to ONNX, run everywhere."""
