-- Mark a batch as not sent, so that a repeat of its request sends it at once. KEYS: batch.
redis.call('HDEL', KEYS[1], 'sending')
