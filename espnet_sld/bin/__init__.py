"""One thin command per stage: parse, call one function, exit."""
