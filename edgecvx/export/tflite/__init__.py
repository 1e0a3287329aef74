"""TFLite files, written straight as flatbuffers."""
