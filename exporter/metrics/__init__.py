"""From a snapshot to a page: the catalogue of metrics, its rendering, and the exporter's metrics of itself."""
