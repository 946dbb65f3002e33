"""The command line: each verb parses its options, calls `jaxmicro.pipeline` and writes a run folder."""
