"""What nodes share with the middleware: conversions, diagnostics, receiving."""
