// For tests: every case of a chain there is.
import { ACCEPTED } from './accepted.ts';
import type { ChainCase } from './chain.ts';
import { REFUSED_CERTIFICATES, REFUSED_NAMES } from './refused-certificate.ts';
import { REFUSED_PATHS } from './refused-path.ts';

export { type ChainCase, openPki, type Pki, TRUST_DOMAIN, type Variant, VARIANTS } from './chain.ts';
export const CHAIN_CASES: readonly ChainCase[] = [...ACCEPTED, ...REFUSED_PATHS, ...REFUSED_NAMES, ...REFUSED_CERTIFICATES];
