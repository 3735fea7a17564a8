"""The live page: what a browser is shown of a running graph, and the server that shows it."""
