// Nothing of rpc needs a test kit of its own yet; servers and channels in tests are the real ones.
export {};
