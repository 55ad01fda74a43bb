// Whom a token's holder calls: the server's root is read without trust and taken only if it is the one the token names.
import { connect } from 'node:tls';
import { messageOf } from '@isthmus/model';
import { sha256Hex } from '@isthmus/pki';
import { fail } from './errors.ts';
import { splitAddress } from './address.ts';
import { presentedChain } from './peer-chain.ts';

/**
 * Connects, reads the chain the server presents and returns the root in it whose SHA-256 is one of the pins. Nothing is sent.
 * **Throws** RPC_PIN_MISMATCH, RPC_UNAVAILABLE, RPC_TIMEOUT.
 */
export function fetchPinnedRoot(options: { readonly address: string; readonly serverName: string; readonly pinsSha256: readonly string[]; readonly timeoutMs: number }): Promise<Buffer> {
  const { host, port } = splitAddress(options.address);
  return new Promise((resolve, reject) => {
    // Trust is decided by the pin below, so the handshake itself accepts any chain.
    const socket = connect({ host, port, servername: options.serverName, rejectUnauthorized: false, ALPNProtocols: ['h2'], minVersion: 'TLSv1.3' });
    socket.setTimeout(options.timeoutMs, () => {
      socket.destroy();
      reject(fail('RPC_TIMEOUT', `${options.address} did not finish a TLS handshake within ${options.timeoutMs} ms`));
    });
    socket.once('error', (error) => reject(fail('RPC_UNAVAILABLE', `${options.address}: ${messageOf(error)}`, { cause: error })));
    socket.once('secureConnect', () => {
      const root = presentedChain(socket).find((der) => options.pinsSha256.includes(sha256Hex(der)));
      socket.destroy();
      if (root !== undefined) resolve(root);
      else {
        reject(
          fail('RPC_PIN_MISMATCH', `${options.address} does not present the root certificate that the token or configuration names`, {
            hint: 'that is of another federation, the address is wrong, or somebody is in between',
          }),
        );
      }
    });
  });
}
