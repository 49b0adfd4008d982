SET LOCAL lock_timeout = '5s';
TRUNCATE card_vocabulary;
