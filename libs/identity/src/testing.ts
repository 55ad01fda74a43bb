// Whole identities for tests of other libs and apps.
export {};
