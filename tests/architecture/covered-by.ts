// Sources without a test beside them, and the test that covers each. The architecture test holds this table true.

/** By path: a test that imports the source, directly or not, or one under `tests/` that runs it as a process. */
export const COVERED_BY: Readonly<Record<string, string>> = {};
