"""The HTTP port: metrics page, API and status page behind TLS, passwords and limits on what a client may cost."""
