-- Tables, indices, joins, sorting, text functions and a transaction that is taken back.
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, size INTEGER, note BLOB);
CREATE TABLE link (source INTEGER, target INTEGER);
BEGIN;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
INSERT INTO item SELECT i, 'item' || (i * 7919 % 1000), i * 31 % 977, zeroblob(i % 300) FROM n;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
INSERT INTO link SELECT i, i * 17 % 4000 + 1 FROM n;
COMMIT;
CREATE INDEX by_name ON item (name, size);
SELECT count(*), sum(size), avg(length(note)) FROM item;
SELECT name, count(*), max(size) FROM item GROUP BY name ORDER BY 3 DESC, 1 LIMIT 10;
SELECT a.name, b.name FROM item a JOIN link ON a.id = source JOIN item b ON b.id = target WHERE a.size < 5 ORDER BY a.name, b.name LIMIT 10;
BEGIN;
DELETE FROM item WHERE id % 2 = 0;
UPDATE item SET name = upper(name) || hex(note) WHERE id % 5 = 0;
SELECT count(*), sum(length(name)) FROM item;
ROLLBACK;
SELECT count(*), sum(length(name)) FROM item;
SELECT length(group_concat(name, ', ')) FROM (SELECT name FROM item ORDER BY size, id);
WITH RECURSIVE walk (id, depth) AS (SELECT 1, 0 UNION ALL SELECT target, depth + 1 FROM link JOIN walk ON source = walk.id WHERE depth < 50)
SELECT max(depth), sum(id) FROM walk;
DROP INDEX by_name;
VACUUM;
PRAGMA integrity_check;
