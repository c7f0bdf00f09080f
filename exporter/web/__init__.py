"""HTTP: the metrics page, the API, the status page, and the server they run in."""
