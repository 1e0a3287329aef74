"""The plots of a report: values in, inline SVG out, with nothing to load and nothing to run."""
