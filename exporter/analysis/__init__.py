"""What readings mean. All pure: values in, values out; no clock, no files, no Prometheus."""
