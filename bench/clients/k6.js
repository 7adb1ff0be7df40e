// The buyers of `gateway flashsale` for k6: reserve, then pay and confirm, or walk away. What got no answer, a 5xx or a 429 is sent
// again under the same key, so that it has one effect. At the end the sku's counters must add up; if not, k6 exits with 99.
import http from 'k6/http';
import exec from 'k6/execution';
import { check, sleep } from 'k6';
import { Counter } from 'k6/metrics';

const URL = __ENV.GATEWAY_URL || 'http://127.0.0.1:8080';
const UNITS = Number(__ENV.UNITS || 1000);
const BUYERS_PER_SECOND = Number(__ENV.RATE || 200);
const SECONDS = Number(__ENV.SECONDS || 30);
const ABANDON = Number(__ENV.ABANDON || 0.2);
const PAY_SECONDS = Number(__ENV.PAY_SECONDS || 1);
const TTL_SECONDS = Number(__ENV.TTL_SECONDS || 60);
const SHOP = encodeURIComponent(__ENV.SHOP || 'main');
const KEY = __ENV.RESERVATION_GATEWAY_KEY || '';
const ATTEMPTS_MAX = 8;

const outcomes = new Counter('flashsale_outcomes');

// A 409 is an answer, not a failure: there is not enough for all.
http.setResponseCallback(http.expectedStatuses(200, 201, 409));

export const options = {
  scenarios: {
    // An open loop: buyers come whatever is answered. k6 counts as dropped_iterations those that it could not start in time.
    sale: {
      executor: 'constant-arrival-rate',
      rate: BUYERS_PER_SECOND,
      timeUnit: '1s',
      duration: `${SECONDS}s`,
      preAllocatedVUs: Math.ceil(BUYERS_PER_SECOND * (PAY_SECONDS + 1)),
      maxVUs: Math.ceil(BUYERS_PER_SECOND * (PAY_SECONDS * 5 + 10)),
    },
  },
  thresholds: { 'checks{law:conservation}': ['rate==1'] },
};

function parameters(name, key) {
  const headers = { 'Content-Type': 'application/json' };
  if (KEY) headers.Authorization = `Bearer ${KEY}`;
  if (key) headers['Idempotency-Key'] = key;
  return { headers, tags: { name }, timeout: '10s' };
}

function call(path, name, body, key) {
  let answer;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    answer = http.post(`${URL}${path}?shop=${SHOP}`, JSON.stringify(body), parameters(name, key));
    const isFinal = answer.status > 0 && answer.status < 500 && answer.status !== 408 && answer.status !== 429;
    if (isFinal) return answer;
    sleep(Math.min(2, 0.05 * 2 ** attempt) * (0.5 + Math.random() / 2));
  }
  return answer;
}

export function setup() {
  const sku = `k6-${Date.now()}-${Math.random().toString(16).slice(2, 10)}`;
  const body = { source: 'k6', sequence: Date.now(), on_hand: UNITS };
  const put = http.put(`${URL}/v1/stock/${sku}/main?shop=${SHOP}`, JSON.stringify(body), parameters('put'));
  if (put.status !== 200) exec.test.abort(`the sku could not be made: ${put.status} ${put.body}`);
  return { sku };
}

export default function buy({ sku }) {
  const body = { lines: [{ sku, quantity: 1 }], ttl_seconds: TTL_SECONDS, reference: sku };
  const held = call('/v1/reservations', 'reserve', body, `${sku}.${exec.scenario.iterationInTest}`);
  if (held.status !== 201) {
    outcomes.add(1, { outcome: held.status === 409 ? 'sold_out' : 'failed' });
    return;
  }
  if (Math.random() < ABANDON) {
    outcomes.add(1, { outcome: 'abandoned' });
    return;
  }
  sleep(-Math.log(1 - Math.random()) * PAY_SECONDS);
  const sold = call(`/v1/reservations/${held.json('id')}/confirm`, 'confirm', {});
  outcomes.add(1, { outcome: sold.status === 200 ? 'sold' : 'not_confirmed' });
}

export function teardown({ sku }) {
  const told = http.get(`${URL}/v1/stock/${sku}?shop=${SHOP}`, parameters('read')).json();
  const sum = told.committed + told.held + told.available;
  console.log(`${sku}: ${told.committed} confirmed, ${told.held} held, ${told.available} available of ${UNITS}`);
  check(told, { 'nothing oversold or lost': () => sum === UNITS && told.committed <= UNITS }, { law: 'conservation' });
}
