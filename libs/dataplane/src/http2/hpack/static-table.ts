// The fields every HPACK peer knows beforehand.

/** RFC 7541 Appendix A, flat: name, value; entry 1 comes first. */
const PAIRS =
  ':authority||:method|GET|:method|POST|:path|/|:path|/index.html|:scheme|http|:scheme|https|:status|200|:status|204|:status|206|' +
  ':status|304|:status|400|:status|404|:status|500|accept-charset||accept-encoding|gzip, deflate|accept-language||accept-ranges||' +
  'accept||access-control-allow-origin||age||allow||authorization||cache-control||content-disposition||content-encoding||' +
  'content-language||content-length||content-location||content-range||content-type||cookie||date||etag||expect||expires||from||host||' +
  'if-match||if-modified-since||if-none-match||if-range||if-unmodified-since||last-modified||link||location||max-forwards||' +
  'proxy-authenticate||proxy-authorization||range||referer||refresh||retry-after||server||set-cookie||strict-transport-security||' +
  'transfer-encoding||user-agent||vary||via||www-authenticate|';

/** Names and values by index from 1; index 0 is no entry. RFC 7541 Appendix A. */
export const STATIC_FIELDS: readonly (readonly [name: string, value: string])[] = [['', ''] as const, ...pairs(PAIRS.split('|'))];

/** Entries of the static table; the dynamic one begins behind it. RFC 7541 §2.3.3. */
export const STATIC_COUNT = 61;

function pairs(flat: readonly string[]): (readonly [string, string])[] {
  const out: (readonly [string, string])[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) out.push([flat[i] ?? '', flat[i + 1] ?? '']);
  return out;
}
