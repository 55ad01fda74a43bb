// OpenSSL as Node carries it, through FFI: contexts for one SVID, and the calls a TLS 1.3 connection needs.
import type { X509Svid } from '@isthmus/pki';
import koffi from 'koffi';
import { fail } from '../../errors.ts';
import { GENERATION_MS } from '../../tls/generation.ts';

/** An object of OpenSSL's; only OpenSSL looks inside. */
export type Handle = { readonly __opensslHandle: never } | bigint;

const SSL_CTRL_SET_TLSEXT_HOSTNAME = 55;
const SSL_CTRL_MODE = 33;
const SSL_CTRL_CHAIN_CERT = 89;
const SSL_CTRL_SET_MIN_PROTO_VERSION = 123;
const SSL_CTRL_SET_READ_AHEAD = 41;
const SSL_CTRL_SET_SESS_CACHE_MODE = 44;
const TLS1_3_VERSION = 0x0304;
const TLSEXT_NAMETYPE_HOST_NAME = 0;
const SSL_MODES = 0x1 | 0x2 | 0x10; // partial writes, moving write buffer, release idle buffers
const SSL_OP_NO_RENEGOTIATION = 1n << 30n;
const SSL_VERIFY_PEER = 1;
/** OpenSSL refuses to resume where certificates are asked for and this is missing. */
const SESSION_ID_CONTEXT = Buffer.from('isthmus', 'latin1');
const SSL_TLSEXT_ERR_OK = 0;
const SSL_TLSEXT_ERR_ALERT_FATAL = 2;

export const SSL_ERROR_SSL = 1;
export const SSL_ERROR_WANT_READ = 2;
export const SSL_ERROR_WANT_WRITE = 3;
export const SSL_ERROR_SYSCALL = 5;
export const SSL_ERROR_ZERO_RETURN = 6;

type Calls = ReturnType<typeof bindCalls>;
let calls: Calls | undefined;

function bindCalls() {
  const library = koffi.load(null);
  const verifyProto = koffi.proto('int isthmus_verify(int, void *)');
  const alpnProto = koffi.proto('int isthmus_alpn(void *, _Out_ void **, _Out_ uint8_t *, const uint8_t *, unsigned int, void *)');
  const fn = <A extends readonly unknown[], R>(declaration: string): ((...args: A) => R) => library.func(declaration) as unknown as (...args: A) => R;
  return {
    verifyProto,
    alpnProto,
    method: fn<[], Handle>('void *TLS_method()'),
    ctxNew: fn<[Handle], Handle | null>('void *SSL_CTX_new(void *)'),
    ctxFree: fn<[Handle], void>('void SSL_CTX_free(void *)'),
    ctxCtrl: fn<[Handle, number, number, Handle | null], number>('long SSL_CTX_ctrl(void *, int, long, void *)'),
    ctxSetOptions: fn<[Handle, bigint], bigint>('uint64_t SSL_CTX_set_options(void *, uint64_t)'),
    ctxCertificate: fn<[Handle, number, Uint8Array], number>('int SSL_CTX_use_certificate_ASN1(void *, int, void *)'),
    ctxPrivateKey: fn<[Handle, Handle], number>('int SSL_CTX_use_PrivateKey(void *, void *)'),
    ctxSetVerify: fn<[Handle, number, unknown], void>('void SSL_CTX_set_verify(void *, int, isthmus_verify *)'),
    ctxSetAlpnSelect: fn<[Handle, unknown, null], void>('void SSL_CTX_set_alpn_select_cb(void *, isthmus_alpn *, void *)'),
    ctxSetTickets: fn<[Handle, number], number>('int SSL_CTX_set_num_tickets(void *, size_t)'),
    ctxSetTimeout: fn<[Handle, number], number>('long SSL_CTX_set_timeout(void *, long)'),
    ctxSetSessionIdContext: fn<[Handle, Uint8Array, number], number>('int SSL_CTX_set_session_id_context(void *, void *, unsigned int)'),
    newTicket: fn<[Handle], number>('int SSL_new_session_ticket(void *)'),
    session: fn<[Handle], Handle | null>('void *SSL_get_session(void *)'),
    setSession: fn<[Handle, Handle], number>('int SSL_set_session(void *, void *)'),
    isResumed: fn<[Handle], number>('int SSL_session_reused(void *)'),
    isResumable: fn<[Handle], number>('int SSL_SESSION_is_resumable(void *)'),
    sessionCopy: fn<[Handle], Handle | null>('void *SSL_SESSION_dup(void *)'),
    sessionFree: fn<[Handle], void>('void SSL_SESSION_free(void *)'),
    readKey: fn<[null, unknown[], number], Handle | null>('void *d2i_AutoPrivateKey(void *, _Inout_ void **, long)'),
    readCertificate: fn<[null, unknown[], number], Handle | null>('void *d2i_X509(void *, _Inout_ void **, long)'),
    keyFree: fn<[Handle], void>('void EVP_PKEY_free(void *)'),
    certificateFree: fn<[Handle], void>('void X509_free(void *)'),
    sslNew: fn<[Handle], Handle | null>('void *SSL_new(void *)'),
    sslFree: fn<[Handle], void>('void SSL_free(void *)'),
    setFd: fn<[Handle, number], number>('int SSL_set_fd(void *, int)'),
    setConnect: fn<[Handle], void>('void SSL_set_connect_state(void *)'),
    setAccept: fn<[Handle], void>('void SSL_set_accept_state(void *)'),
    setAlpn: fn<[Handle, Uint8Array, number], number>('int SSL_set_alpn_protos(void *, void *, unsigned int)'),
    ctrl: fn<[Handle, number, number, Uint8Array | null], number>('long SSL_ctrl(void *, int, long, void *)'),
    handshake: fn<[Handle], number>('int SSL_do_handshake(void *)'),
    read: fn<[Handle, Uint8Array, number], number>('int SSL_read(void *, void *, int)'),
    write: fn<[Handle, Uint8Array, number], number>('int SSL_write(void *, void *, int)'),
    getError: fn<[Handle, number], number>('int SSL_get_error(void *, int)'),
    hasPending: fn<[Handle], number>('int SSL_has_pending(void *)'),
    shutdown: fn<[Handle], number>('int SSL_shutdown(void *)'),
    serverName: fn<[Handle, number], string | null>('const char *SSL_get_servername(void *, int)'),
    alpnSelected: fn<[Handle, unknown[], number[]], void>('void SSL_get0_alpn_selected(void *, _Out_ void **, _Out_ unsigned int *)'),
    peerCertificate: fn<[Handle], Handle | null>('void *SSL_get1_peer_certificate(void *)'),
    peerChain: fn<[Handle], Handle | null>('void *SSL_get_peer_cert_chain(void *)'),
    stackSize: fn<[Handle], number>('int OPENSSL_sk_num(void *)'),
    stackAt: fn<[Handle, number], Handle | null>('void *OPENSSL_sk_value(void *, int)'),
    certificateBytes: fn<[Handle, unknown], number>('int i2d_X509(void *, _Inout_ void **)'),
    clearErrors: fn<[], void>('void ERR_clear_error()'),
    nextError: fn<[], bigint | number>('unsigned long ERR_get_error()'),
    errorText: fn<[bigint | number, Uint8Array, number], void>('void ERR_error_string_n(unsigned long, void *, size_t)'),
  };
}

/** The calls, bound at first use. **Throws** DATAPLANE_ENGINE_UNAVAILABLE where this Node does not carry OpenSSL openly. */
export function openssl(): Calls {
  try {
    return (calls ??= bindCalls());
  } catch (error) {
    throw fail('DATAPLANE_ENGINE_UNAVAILABLE', 'OpenSSL cannot be reached in this Node', { cause: error });
  }
}

/** The oldest error in OpenSSL's queue in words; the queue is empty afterwards. */
export function lastError(): string {
  const { nextError, errorText, clearErrors } = openssl();
  const code = nextError();
  clearErrors();
  if (Number(code) === 0) return 'closed by the other end';
  const text = Buffer.alloc(256);
  errorText(code, text, text.length);
  return text.toString('latin1', 0, text.indexOf(0)).replace(/^error:[^:]*:[^:]*:[^:]*:/, '');
}

let acceptAny: unknown;
const alpnChoosers = new Map<string, unknown>();

/** How a context is used: `alpn` is what a server chooses from, best first. */
export type ContextUse = { readonly side: 'client' | 'server'; readonly alpn: readonly string[] };

/**
 * A context that shows an SVID: TLS 1.3 only, the other end's certificate asked for and taken whatever it is (it is
 * judged by pki afterwards, decision 0004); resumable while the context is in use (decision 0026). **Throws** DATAPLANE_ENGINE_UNAVAILABLE.
 */
export function makeContext(svid: X509Svid, use: ContextUse): Handle {
  const o = openssl();
  const context = o.ctxNew(o.method());
  if (context === null) throw fail('DATAPLANE_ENGINE_UNAVAILABLE', `no TLS context: ${lastError()}`);
  o.ctxCtrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION, null);
  o.ctxCtrl(context, SSL_CTRL_MODE, SSL_MODES, null);
  o.ctxCtrl(context, SSL_CTRL_SET_READ_AHEAD, 1, null);
  o.ctxSetOptions(context, SSL_OP_NO_RENEGOTIATION);
  // Tickets are asked for one by one, after the verdict; they are sealed with the context's own random keys.
  o.ctxCtrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, 0, null);
  o.ctxSetTickets(context, 0);
  o.ctxSetTimeout(context, GENERATION_MS / 1_000);
  o.ctxSetSessionIdContext(context, SESSION_ID_CONTEXT, SESSION_ID_CONTEXT.length);
  acceptAny ??= koffi.register(() => 1, koffi.pointer(o.verifyProto));
  o.ctxSetVerify(context, SSL_VERIFY_PEER, acceptAny);
  useSvid(context, svid);
  if (use.side === 'server' && use.alpn.length > 0) o.ctxSetAlpnSelect(context, alpnChooser(use.alpn), null);
  return context;
}

function useSvid(context: Handle, svid: X509Svid): void {
  const o = openssl();
  const [leaf, ...issuers] = svid.chain;
  if (leaf === undefined || o.ctxCertificate(context, leaf.length, leaf) !== 1) throw fail('DATAPLANE_NO_IDENTITY', `the SVID cannot be used: ${lastError()}`);
  for (const der of issuers) {
    const certificate = o.readCertificate(null, [der], der.length);
    if (certificate === null) throw fail('DATAPLANE_NO_IDENTITY', `the SVID's chain cannot be used: ${lastError()}`);
    o.ctxCtrl(context, SSL_CTRL_CHAIN_CERT, 1, certificate);
    o.certificateFree(certificate);
  }
  const der = svid.key.export({ format: 'der', type: 'pkcs8' });
  const key = o.readKey(null, [der], der.length);
  der.fill(0);
  if (key === null) throw fail('DATAPLANE_NO_IDENTITY', `the SVID's key cannot be used: ${lastError()}`);
  const used = o.ctxPrivateKey(context, key);
  o.keyFree(key);
  if (used !== 1) throw fail('DATAPLANE_NO_IDENTITY', `the SVID's key does not fit: ${lastError()}`);
}

/** Chooses the first of ours that the client offers; none in common ends the handshake (RFC 7301 §3.2). */
function alpnChooser(ours: readonly string[]): unknown {
  const known = alpnChoosers.get(ours.join());
  if (known !== undefined) return known;
  const o = openssl();
  // What `out` points to has to outlive the call: the names in one buffer that is never freed.
  const names = ours.map((name) => ({ name, address: pinned(Buffer.from(name, 'latin1')), size: name.length }));
  const chooser = koffi.register((_ssl: unknown, out: unknown, outSize: unknown, offered: unknown, size: number) => {
    const list = Buffer.from(koffi.decode(offered as never, 'uint8_t', size) as number[]);
    for (const { name, address, size: nameSize } of names) {
      if (!offers(list, name)) continue;
      koffi.encode(out as never, 'void *', address);
      koffi.encode(outSize as never, 'uint8_t', nameSize);
      return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }, koffi.pointer(o.alpnProto));
  alpnChoosers.set(ours.join(), chooser);
  return chooser;
}

function pinned(bytes: Buffer): unknown {
  const memory = koffi.alloc('uint8_t', bytes.length);
  koffi.encode(memory, 'uint8_t', [...bytes], bytes.length);
  return memory;
}

function offers(list: Buffer, name: string): boolean {
  for (let at = 0; at < list.length; at += 1 + (list[at] ?? 0)) {
    if (list.toString('latin1', at + 1, at + 1 + (list[at] ?? 0)) === name) return true;
  }
  return false;
}

/** ALPN as it goes over the wire. */
export function alpnWire(names: readonly string[]): Buffer {
  return Buffer.concat(names.map((name) => Buffer.concat([Buffer.from([name.length]), Buffer.from(name, 'latin1')])));
}

/** Names the server a client wants. */
export function setServerName(ssl: Handle, name: string): void {
  openssl().ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_HOST_NAME, Buffer.from(`${name}\0`, 'latin1'));
}

/** A copy of the connection's session, once it can be resumed; the caller owns it. A copy, because OpenSSL marks a session as spent when its connection is cut. */
export function resumableSession(ssl: Handle): Handle | undefined {
  const o = openssl();
  const session = o.session(ssl);
  if (session === null || o.isResumable(session) !== 1) return undefined;
  return o.sessionCopy(session) ?? undefined;
}

/** Offers a copy of a session to the server; the session stays its owner's. */
export function offerSession(ssl: Handle, session: Handle): void {
  const o = openssl();
  const copy = o.sessionCopy(session);
  if (copy === null) return;
  o.setSession(ssl, copy); // takes its own reference
  o.sessionFree(copy);
}

const MAX_CHAIN = 8; // leaf, intermediates; a deeper one is no SPIFFE chain (reliability row 46)

/** What the other end presented, leaf first, as DER; empty where it presented nothing. */
export function presentedChain(ssl: Handle): Buffer[] {
  const o = openssl();
  const leaf = o.peerCertificate(ssl);
  if (leaf === null) return [];
  const first = derOf(leaf);
  o.certificateFree(leaf);
  const chain = [first];
  const stack = o.peerChain(ssl);
  const size = stack === null ? 0 : o.stackSize(stack);
  for (let i = 0; stack !== null && i < size && chain.length < MAX_CHAIN; i++) {
    const certificate = o.stackAt(stack, i);
    if (certificate === null) break;
    const der = derOf(certificate);
    if (i > 0 || !der.equals(first)) chain.push(der); // a client's stack begins with the leaf, a server's does not
  }
  return chain;
}

function derOf(certificate: Handle): Buffer {
  const o = openssl();
  const size = o.certificateBytes(certificate, null);
  const der = Buffer.alloc(Math.max(0, size));
  o.certificateBytes(certificate, [der]);
  return der;
}

/** The protocol both agreed on. */
export function selectedAlpn(ssl: Handle): string | undefined {
  const data: unknown[] = [null];
  const size: number[] = [0];
  openssl().alpnSelected(ssl, data, size);
  const length = size[0] ?? 0;
  if (length === 0) return undefined;
  return Buffer.from(koffi.decode(data[0] as never, 'uint8_t', length) as number[]).toString('latin1');
}
