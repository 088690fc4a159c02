"""The report room: one file a form. Every report is a pure function of a ledger and its judgement."""
