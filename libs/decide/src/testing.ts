// decide is pure: its tests need values only, which model/testing builds.
export {};
