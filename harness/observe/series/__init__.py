"""Time series in InfluxDB, read back and compared: samples with those of Prometheus, events with what was announced."""
