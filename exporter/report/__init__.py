"""What a snapshot and its findings say, as documents that become JSON, the status page and the terminal's text."""
